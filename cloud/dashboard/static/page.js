// What every page does: light and dark, live updates, evidence drawer. Each module says its own part.
import { startClock } from "./ticks.js";
import { followStream } from "./live.js";
import { openEvidence } from "./evidence.js";
import { startTheme } from "./theme.js";
import { startLink } from "./link.js";
import { startAsking } from "./ask.js";
import { startVerdict } from "./verdict.js";

startTheme();
startClock();
openEvidence();
startLink();
startAsking();
startVerdict();
if (document.querySelector("main[data-fragment]")) followStream();
