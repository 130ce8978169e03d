/* A Modbus server on libmodbus that misbehaves where it is told to: `adversary tcp PORT` or `adversary rtu DEVICE UNIT`.
 *
 * Every register says where it is: value = address * 31 + unit * 7919 + table * 101 (mod 65536), table 3 or 4.
 * Coils and discrete inputs: bit = (address * 7 + unit) % 3 == 0. Addresses 0 to 4095 exist and can be written.
 * Over TCP the units 1 to 8 exist; unit 9 takes requests and never answers.
 * Holding registers at which a request misbehaves when it begins there:
 *   5000 exception 6 (busy)              5003 answers after 0.5 s
 *   5001 one register too few            5004 answers byte by byte
 *   5002 another unit and transaction    5005 never answers
 *   5006 the answer twice
 * SIGUSR2: requests that touch address 0 get exception 4 from now on.
 */
#include <errno.h>
#include <modbus.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNITS 9
#define SIZE 4096

static modbus_mapping_t *units[UNITS + 1];
static volatile sig_atomic_t spoiled;
static int rtu;

static void spoil(int number) {
    (void)number;
    spoiled = 1;
}

static modbus_mapping_t *map(int unit) {
    modbus_mapping_t *made = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    if (made == NULL) exit(2);
    for (int at = 0; at < SIZE; at++) {
        made->tab_registers[at] = at * 31 + unit * 7919 + 3 * 101;
        made->tab_input_registers[at] = at * 31 + unit * 7919 + 4 * 101;
        made->tab_bits[at] = made->tab_input_bits[at] = (at * 7 + unit) % 3 == 0;
    }
    return made;
}

/* Send an answer of our own making; the transaction id is that of the query plus `off`. */
static void raw(modbus_t *ctx, const uint8_t *query, int off, const uint8_t *pdu, int length, int slowly) {
    uint8_t frame[300];
    int head = modbus_get_header_length(ctx), size = 0;
    if (rtu) {
        modbus_send_raw_request(ctx, pdu, length); /* adds the CRC */
        return;
    }
    int transaction = (query[0] << 8 | query[1]) + off;
    frame[size++] = transaction >> 8;
    frame[size++] = transaction;
    frame[size++] = 0;
    frame[size++] = 0;
    frame[size++] = length >> 8;
    frame[size++] = length;
    memcpy(frame + size, pdu, length);
    size += length;
    (void)head;
    for (int at = 0; at < size; at += slowly ? 1 : size) {
        send(modbus_get_socket(ctx), frame + at, slowly ? 1 : size, MSG_NOSIGNAL);
        if (slowly) usleep(2000);
    }
}

static int answer(modbus_t *ctx, const uint8_t *query, int length) {
    int head = modbus_get_header_length(ctx);
    int unit = query[head - 1], function = query[head];
    int address = query[head + 1] << 8 | query[head + 2], count = query[head + 3] << 8 | query[head + 4];
    uint8_t pdu[260] = {unit, function, 2 * count};
    if (unit < 1 || unit > UNITS || units[unit] == NULL) return modbus_reply_exception(ctx, query, 11);
    if (unit == UNITS) return 0;
    if (spoiled && address == 0 && function <= 4)
        return modbus_reply_exception(ctx, query, MODBUS_EXCEPTION_SLAVE_OR_SERVER_FAILURE);
    if (function == 3 && address >= 5000 && address < 5100) {
        for (int at = 0; at < count; at++) {
            int value = (address + at) * 31 + unit * 7919 + 3 * 101;
            pdu[3 + 2 * at] = value >> 8;
            pdu[4 + 2 * at] = value;
        }
        switch (address) {
        case 5000: return modbus_reply_exception(ctx, query, MODBUS_EXCEPTION_SLAVE_OR_SERVER_BUSY);
        case 5001: pdu[2] -= 2; raw(ctx, query, 0, pdu, 3 + 2 * (count - 1), 0); return 0;
        case 5002: pdu[0]++; raw(ctx, query, 1, pdu, 3 + 2 * count, 0); return 0;
        case 5003: usleep(1200000); break;
        case 5004: raw(ctx, query, 0, pdu, 3 + 2 * count, 1); return 0;
        case 5005: return 0;
        case 5006: raw(ctx, query, 0, pdu, 3 + 2 * count, 0); break;
        }
        raw(ctx, query, 0, pdu, 3 + 2 * count, 0);
        return 0;
    }
    return modbus_reply(ctx, query, length, units[unit]);
}

static int serve_tcp(int port) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", port);
    int listener = modbus_tcp_listen(ctx, 5), most = listener;
    fd_set open, ready;
    if (listener < 0) return 1;
    FD_ZERO(&open);
    FD_SET(listener, &open);
    for (;;) {
        ready = open;
        if (select(most + 1, &ready, NULL, NULL, NULL) < 0) {
            if (errno == EINTR) continue;
            return 1;
        }
        for (int file = 0; file <= most; file++) {
            if (!FD_ISSET(file, &ready)) continue;
            if (file == listener) {
                int client = accept(listener, NULL, NULL);
                if (client < 0) continue;
                FD_SET(client, &open);
                if (client > most) most = client;
                continue;
            }
            modbus_set_socket(ctx, file);
            int length = modbus_receive(ctx, query);
            if (length > 0 && answer(ctx, query, length) >= 0) continue;
            if (length == 0) continue;
            close(file);
            FD_CLR(file, &open);
        }
    }
}

static int serve_rtu(const char *device, int unit) {
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    modbus_t *ctx = modbus_new_rtu(device, 115200, 'N', 8, 1);
    if (modbus_set_slave(ctx, unit) || modbus_connect(ctx)) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0) answer(ctx, query, length);
        if (length < 0 && errno != EMBBADCRC && errno != ETIMEDOUT && errno != EINTR && errno != EMBBADDATA) return 1;
    }
}

int main(int count, char **words) {
    struct sigaction action = {.sa_handler = spoil, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
    if (count < 3) return 2;
    for (int unit = 1; unit <= UNITS; unit++) units[unit] = map(unit);
    rtu = strcmp(words[1], "rtu") == 0;
    return rtu ? serve_rtu(words[2], count > 3 ? atoi(words[3]) : 1) : serve_tcp(atoi(words[2]));
}
