// A Modbus TCP server on modbus-serial: `node modbus.mjs PORT`.
// Every register says where it is: value = address * 31 + unit * 7919 + table * 101 (mod 65536), table 3 or 4; bits:
// (address * 7 + unit) % 3 == 0. Addresses 0 to 4095 exist, but no register 60. Unit 9 never answers, unit 8 takes 0.3 s.
// SIGUSR2: address 0 fails with exception 4 from now on. Register 4000 of a unit 1 … 7: the unit to be silent from now
// on (0: all speak again).
import modbus from "modbus-serial";

const [port] = process.argv.slice(2).map(Number);
const written = new Map();
let spoiled = false;
let silent = 0;
process.on("SIGUSR2", () => (spoiled = true));

function answer(unit, address, value, callback, hole = -1) {
  if (unit === 9 || unit === silent) return;
  let error = null;
  if (address === hole || address > 4095) error = { modbusErrorCode: 2 };
  else if (spoiled && address === 0) error = { modbusErrorCode: 4 };
  if (unit === 8) setTimeout(() => callback(error, value), 300);
  else callback(error, value);
}

const word = (table) => (address, unit, callback) =>
  answer(unit, address, written.get(`${table} ${unit} ${address}`) ?? (address * 31 + unit * 7919 + table * 101) & 0xffff, callback, 60);
const bit = (table) => (address, unit, callback) =>
  answer(unit, address, written.get(`${table} ${unit} ${address}`) ?? (address * 7 + unit) % 3 === 0, callback);
const set = (table) => (address, value, unit, callback) => {
  if (address === 4000 && table === 3) silent = value;
  written.set(`${table} ${unit} ${address}`, value);
  callback(null);
};

const server = new modbus.ServerTCP(
  {
    getCoil: bit(1),
    getDiscreteInput: bit(2),
    getHoldingRegister: word(3),
    getInputRegister: word(4),
    setCoil: set(1),
    setRegister: set(3),
  },
  { host: "127.0.0.1", port, unitID: 255 }
);
server.on("socketError", () => {});
server.on("serverError", (error) => {
  console.error(error);
  process.exit(1);
});
