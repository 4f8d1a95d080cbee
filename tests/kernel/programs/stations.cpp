// Stations in C++, like those of stations.c: exceptions, virtual calls, templates, and what the library calls back.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "own.h"

static volatile unsigned sink;

// ---- exceptions: thrown through frames with and without cleanups, caught, rethrown ----

struct Cleanup {
    unsigned kept;
    OWN ~Cleanup() { sink += work(kept & 15) + 1; }
};
OWN static unsigned throws(unsigned n) {
    if (n % 2 == 0)
        throw n;
    throw std::runtime_error("odd");
}
OWN static unsigned cleans(unsigned n) {
    Cleanup first{n}, second{n + 1};
    return throws(n) + 1;
}
OWN static unsigned passes(unsigned n) {
    std::string text(n % 40 + 1, 'x');
    return cleans(n) + static_cast<unsigned>(text.size());
}
OWN static unsigned rethrows(unsigned n) {
    try {
        return passes(n) + 1;
    } catch (const std::runtime_error &) {
        sink += work(10);
        throw;
    }
}
OWN static void catches(unsigned n) {
    try {
        sink += rethrows(n) + 1;
    } catch (unsigned value) {
        sink += work(value & 7);
    } catch (const std::exception &error) {
        sink += static_cast<unsigned>(std::strlen(error.what())) + work(5);
    }
    sink += work(30000); // real programs do something else, too
}
OWN static void exceptions() {
    for (unsigned i = 0;; i++)
        catches(i);
}

struct SpinsAtEnd {
    unsigned kept;
    OWN ~SpinsAtEnd() {
        sink += kept;
        spin();
        sink += kept;
    }
};
OWN static unsigned unwound(unsigned n) {
    SpinsAtEnd object{n};
    return throws(n) + 1;
}
OWN static void spin_cleanup() { // in a destructor while an exception is on its way, called from a landing pad
    try {
        sink += unwound(2) + 1;
    } catch (unsigned) {
        sink += 1;
    }
}
OWN static void spin_catch() {
    try {
        sink += throws(2) + 1;
    } catch (unsigned) {
        spin();
        sink += 1;
    }
}
OWN static void end_by_spinning() {
    spin();
    std::abort();
}
OWN static void spin_terminate() { // nothing catches it: called by the library above throw
    std::set_terminate(end_by_spinning);
    auto thrower = [](unsigned n) noexcept { sink += throws(n) + 1; };
    thrower(2);
    sink += 1;
}

// ---- virtual calls: several inheritance, so that thunks adjust `this` ----

struct Shape {
    virtual ~Shape() = default;
    virtual unsigned area(unsigned n) = 0;
};
struct Named {
    unsigned padding = 3;
    virtual ~Named() = default;
    virtual unsigned name(unsigned n) = 0;
};
struct Square final : Shape, Named {
    OWN unsigned area(unsigned n) override { return work(n & 31) + name(n); }
    OWN unsigned name(unsigned n) override { return work(n & 7) + padding; }
};
OWN static unsigned by_base(Shape *shape, Named *named, unsigned n) { return shape->area(n) * 3 + named->name(n) + 1; }
OWN static void virtuals() {
    Square square;
    for (unsigned i = 0;; i++)
        sink += by_base(&square, &square, i);
}

// ---- templates, instantiated for several types and depths ----

template <typename T, int Depth> struct Nested {
    OWN static T call(T value) { return Nested<T, Depth - 1>::call(value + 1) * 3; }
};
template <typename T> struct Nested<T, 0> {
    OWN static T call(T value) { return static_cast<T>(work(static_cast<unsigned>(value) & 15)) + 1; }
};
OWN static void templates() {
    for (unsigned i = 0;; i++) {
        sink += Nested<unsigned, 3>::call(i);
        sink += static_cast<unsigned>(Nested<double, 2>::call(i) + 1);
    }
}

// ---- the library: sorting by a function object, containers, streams, std::function, threads ----

struct ByRemainder {
    OWN bool operator()(unsigned a, unsigned b) const { return work(a & 3) % 7 + a % 17 < work(b & 3) % 7 + b % 17; }
};
OWN static void library() {
    std::map<std::string, unsigned> words;
    std::vector<unsigned> numbers(200);
    for (unsigned i = 0;; i++) {
        for (unsigned &number : numbers)
            number = number * 7919 + i;
        std::stable_sort(numbers.begin(), numbers.end(), ByRemainder());
        std::ostringstream text;
        text << "word" << i % 97 << ' ' << numbers[0] * 0.5;
        words[text.str()] += i;
        if (words.size() > 1000)
            words.clear();
    }
}
struct Caller {
    unsigned kept[8]; // too large to lie inside std::function
    OWN unsigned operator()(unsigned n) const { return work(n & 31) + kept[n & 7]; }
};
OWN static void functions() {
    std::function<unsigned(unsigned)> call = Caller{{1, 2, 3, 4, 5, 6, 7, 8}};
    for (unsigned i = 0;; i++)
        sink += call(i) + 1;
}
OWN static unsigned spin_in_future(unsigned n) {
    spin();
    return n;
}
OWN static void spin_async() {
    auto later = std::async(std::launch::async, spin_in_future, 3U);
    sink += later.get() + 1;
}

struct SpinsBeforeMain {
    OWN explicit SpinsBeforeMain(bool really) {
        if (really)
            spin();
        sink += 1;
    }
};
static bool asked(const char *name);
static SpinsBeforeMain before(asked("spin_constructor"));
static void spin_constructor() {} // it spins before main

static const struct {
    const char *name;
    void (*run)();
} stations[] = {
    {"exceptions", exceptions}, {"spin_cleanup", spin_cleanup},         {"spin_catch", spin_catch},
    {"virtuals", virtuals},     {"spin_terminate", spin_terminate},     {"templates", templates},
    {"library", library},       {"spin_constructor", spin_constructor}, {"functions", functions},
    {"spin_async", spin_async},
};

// Whether this process was started for a station; the arguments of main are not there yet.
static bool asked(const char *name) {
    const char *station = std::getenv("STATION");
    return station && !std::strcmp(station, name);
}

OWN int main(int argc, char **argv) {
    for (const auto &station : stations)
        if (argc > 1 && !std::strcmp(argv[1], station.name)) {
            station.run();
            return 0;
        }
    return 2;
}
