/* A library that calls what it is given; built once, loaded as many files. */
struct relay {
    unsigned (*call)(struct relay *);
};
unsigned relay(struct relay *me) { return me[1].call(me + 1) + 1; }
