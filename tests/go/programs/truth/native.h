int native_work(int rounds);
int native_callback(int rounds);
