// A minimal robot in C++17 on libzmq and nlohmann-json, after docs/protocol.md. robot.py is the same.
// Raw audio (16 kHz, mono, 16 bit) comes in on stdin and goes out on stdout:
//
//     g++ -std=c++17 -O2 robot.cpp -lzmq -o robot    # Debian: apt install g++ libzmq3-dev nlohmann-json3-dev
//     BUFFERS="--period-time=20000 --buffer-time=80000"
//     arecord -t raw -f S16_LE -r 16000 $BUFFERS |
//       ./robot NAME HOST KEYS | aplay -t raw -f S16_LE -r 16000 $BUFFERS
//
// KEYS is a folder with self.key, self.pub and gateway.pub, as `reachy-keys` makes it. The microphone is the
// clock: after each 20 ms of audio the robot looks at everything once. It leaves out the uplink window, beat,
// played, and the body.
#include <zmq.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

using json = nlohmann::json;
using std::string;

constexpr size_t CHUNK_BYTES = 640;  // 20 ms
const json PCM = {{"rate_hz", 16000}, {"channels", 1}};

int64_t now_us() {
    using namespace std::chrono;
    return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

void checked(int status) {  // without its keys a socket would dial in the open
    if (status) throw std::runtime_error(zmq_strerror(errno));
}

string key(const string& folder, const char* file) {
    string text;
    if (!(std::ifstream(folder + "/" + file) >> text))
        throw std::runtime_error("cannot read " + folder + "/" + file);
    return text;
}

string random_boot() {
    std::random_device random;
    string boot;
    for (int i = 0; i < 16; i++) boot += "0123456789abcdef"[random() % 16];
    return boot;
}

struct Link {  // what is known of the gateway; a link that is lost is made anew
    string boot;
    bool welcomed = false;
    double hello_at = 0, patience_s = 2;
    int64_t floor = 0, ended = -1, playing = -1;
    std::map<int64_t, string> turns;

    int64_t newest() const { return turns.empty() ? -1 : turns.rbegin()->first; }

    void take(double now, const json& m, const string& payload) {
        const string kind = m.at("kind");
        if (kind == "refuse") {
            std::cerr << m.at("reason").get<string>() << std::endl;
            hello_at = now + 5, patience_s = 7;
        }
        welcomed = welcomed || kind == "welcome";
        if (!welcomed) return;
        floor = std::max(floor, m.value("floor", int64_t{0}));
        if (kind == "flush") floor = std::max(floor, m.at("turn").get<int64_t>());
        turns.erase(turns.begin(), turns.lower_bound(floor));
        if (kind == "speaker") {
            const int64_t turn = m.at("turn");
            if (turn >= std::max({floor, ended + 1, newest()}) && turns[turn].size() < 100 * CHUNK_BYTES)
                turns[turn] += payload;
        }
        if (kind == "turn_end") ended = std::max(ended, m.at("turn").get<int64_t>());
        if (kind == "state" && m.at("state") != "speaking") ended = std::max(ended, newest());
    }

    string play() {
        while (!turns.empty()) {
            auto& [turn, pcm] = *turns.begin();
            const bool over = turn <= ended || turn < newest();
            if (!pcm.empty() && (over || turn == playing || pcm.size() >= 3 * CHUNK_BYTES)) {
                playing = turn;
                string chunk = pcm.substr(0, CHUNK_BYTES);
                pcm.erase(0, CHUNK_BYTES);
                chunk.resize(CHUNK_BYTES, '\0');
                return chunk;
            }
            playing = -1;
            if (!over) break;
            ended = std::max(ended, turn);
            turns.erase(turns.begin());
        }
        return string(CHUNK_BYTES, '\0');
    }
};

struct Robot {
    string name, host, server, pub, secret;
    int up_port = 5555, down_port = 5556;
    void* context = zmq_ctx_new();
    void *up = nullptr, *down = nullptr;
    int64_t seq = 0;
    string boot = random_boot();

    void* dial(int kind, int port) {
        void* socket = zmq_socket(context, kind);
        auto set = [&](int option, int value) {
            checked(zmq_setsockopt(socket, option, &value, sizeof value));
        };
        auto key = [&](int option, const string& z85) {
            checked(zmq_setsockopt(socket, option, z85.c_str(), z85.size() + 1));  // 40 characters and their end
        };
        key(ZMQ_CURVE_SERVERKEY, server);
        key(ZMQ_CURVE_PUBLICKEY, pub);
        key(ZMQ_CURVE_SECRETKEY, secret);
        set(ZMQ_LINGER, 0), set(ZMQ_HANDSHAKE_IVL, 2000), set(ZMQ_TCP_MAXRT, 3000);
        set(ZMQ_IMMEDIATE, kind == ZMQ_PUB);
        const string topic = name + "/down", address = "tcp://" + host + ":" + std::to_string(port);
        if (kind == ZMQ_SUB) zmq_setsockopt(socket, ZMQ_SUBSCRIBE, topic.data(), topic.size());
        checked(zmq_connect(socket, address.c_str()));
        return socket;
    }

    void dial() {
        if (up) zmq_close(up), zmq_close(down);
        up = dial(ZMQ_PUB, up_port), down = dial(ZMQ_SUB, down_port);
    }

    void send(const string& kind, const json& fields = json::object(), const string& payload = "") {
        json header = {{"v", 1}, {"kind", kind}, {"robot", name}, {"boot", boot}, {"seq", seq++}};
        header["t_us"] = now_us();
        header.update(fields);
        const string topic = name + "/up", text = header.dump();
        zmq_send(up, topic.data(), topic.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT);
        zmq_send(up, text.data(), text.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT);
        zmq_send(up, payload.data(), payload.size(), ZMQ_DONTWAIT);
    }

    std::vector<string> receive() {  // the parts of the next message; none if there is no message
        std::vector<string> parts;
        zmq_msg_t part;
        zmq_msg_init(&part);
        while (zmq_msg_recv(&part, down, ZMQ_DONTWAIT) >= 0) {
            parts.emplace_back(static_cast<char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
            if (!zmq_msg_more(&part)) break;
        }
        zmq_msg_close(&part);
        return parts;
    }
};

int main(int argc, char** argv) {
    if (argc < 4) return std::cerr << "robot NAME HOST KEYS [UP_PORT DOWN_PORT]" << std::endl, 2;
    const string keys = argv[3];
    Robot robot{argv[1], argv[2], key(keys, "gateway.pub"), key(keys, "self.pub"), key(keys, "self.key")};
    if (argc > 5) robot.up_port = std::stoi(argv[4]), robot.down_port = std::stoi(argv[5]);
    robot.dial();
    Link link;
    double heard = 0, dialled = now_us() / 1e6;
    string mic(CHUNK_BYTES, '\0');
    while (std::cin.read(mic.data(), CHUNK_BYTES)) {
        const double now = now_us() / 1e6;
        for (auto parts = robot.receive(); !parts.empty(); parts = robot.receive()) try {
                const json m = json::parse(parts.at(1));
                const json to_boot = m.value("to_boot", json());
                if (m.at("v") != 1 || (!to_boot.is_null() && to_boot != robot.boot)) continue;
                heard = now;
                if (m.at("boot") != link.boot || m.at("kind") == "refuse" || m.at("kind") == "stranger") {
                    link = Link{};
                    link.boot = m.at("boot");
                }
                link.take(now, m, parts.at(2));
            } catch (const std::exception& malformed) {  // dropped
                std::cerr << malformed.what() << std::endl;
            }
        if (now - heard > link.patience_s) {
            if (link.welcomed) link = Link{};  // the link is lost
            if (now - dialled > 3) robot.dial(), dialled = now;
        }
        if (!link.welcomed && now >= link.hello_at) {
            link.hello_at = now + 0.2;
            robot.send("hello", {{"mic", PCM}, {"speaker", PCM}, {"lead_ms", 40}, {"software", "robot.cpp"}});
        }
        if (link.welcomed) robot.send("mic", {{"samples", CHUNK_BYTES / 2}}, mic);
        std::cout << link.play() << std::flush;
    }
    robot.send("bye");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}
