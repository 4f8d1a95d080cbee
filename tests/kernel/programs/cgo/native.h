int native_spin(int n);
int native_leaf(int n);
int native_sort(int n);
int native_calls_back(int n);
int native_calls_back_deep(int n);
int native_thread(int n);
