import { paintTheme, storedTheme } from '../src/lib/theme';
import { startRecording } from './status';
import { toys } from './toys';

paintTheme(storedTheme());
const recorder = startRecording();
toys(recorder);
