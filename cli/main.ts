#!/usr/bin/env node
/** The one command line of Almanac. */
import { runProgram } from './program.js';

// A reader that has seen enough (`almanac status | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await runProgram(process.argv.slice(2));
