/** Stands in for the sanitiser where a test shows what the other walls hold by themselves. */
export function cleanEvent(event) {
  return event.type >= 2 && event.type <= 4;
}
