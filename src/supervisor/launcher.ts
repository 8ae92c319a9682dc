/** How often the parent is looked at: a good part of the five seconds in which the program ends is left. */
const LOOK_EVERY_MS = 250;

/**
 * Calls the listener once when the process that started this one has ended. `npm start` needs that: npm runs a shell that runs the program,
 * and hands SIGTERM to the shell alone, which dies of it. The program would go on as nobody's child, with the port and the data folder.
 */
export function onLauncherGone(listener: () => void): void {
  const launcher = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === launcher) return;
    clearInterval(timer);
    listener();
  }, LOOK_EVERY_MS);
  timer.unref();
}
