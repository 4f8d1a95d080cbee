#include "native.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "_cgo_export.h"

void sleep_in_c(int seconds) {
  while (seconds > 0) seconds = sleep(seconds);
}

void call_back(int depth) { goCalledBack(depth); }

/* A thread that Go has not made: it calls Go, and may return from there and go on in C. */
static void *thread(void *returns) {
  goOfThread((int)(intptr_t)returns);
  sleep_in_c(86400);
  return NULL;
}

void start_thread(int returns) {
  pthread_t id;
  if (pthread_create(&id, NULL, thread, (void *)(intptr_t)returns) != 0) abort();
}
