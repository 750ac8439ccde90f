/** For a script tag, which takes nothing from a module. */
import './element.ts';
