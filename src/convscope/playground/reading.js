// What every report with something to open or to point at does, whether a network is in it or not.

import { Addresses } from "./addresses.js";
import { Cells } from "./cells.js";

globalThis.reading = { addresses: new Addresses(), cells: new Cells() };
