// What every report with something to open or to point at does, whether a network is in it or not.

import { Cells } from "./cells.js";

globalThis.reading = { cells: new Cells() };
