void sleep_in_c(int seconds);
void call_back(int depth);
void start_thread(int returns);
