// Stations in Rust, like those of stations.c. Only the standard library; the compiler of Debian 12 suffices.
use std::collections::HashMap;
use std::{mem, panic, ptr, thread};

/// The value, of which the compiler knows nothing any more; std::hint has it from 1.66 on.
fn black_box<T>(value: T) -> T {
    let result = unsafe { ptr::read_volatile(&value) };
    mem::forget(value);
    result
}

#[inline(never)]
fn spin() {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns + 1);
    }
}

#[inline(never)]
fn work(rounds: u32) -> u32 {
    let mut total = rounds;
    for i in 0..rounds {
        total = black_box(total.wrapping_mul(31).wrapping_add(i));
    }
    total
}

// ---- generics and trait objects ----

trait Shape {
    fn area(&self, n: u32) -> u32;
}
struct Square(u32);
struct Circle(u32);
impl Shape for Square {
    #[inline(never)]
    fn area(&self, n: u32) -> u32 {
        work(n & 31).wrapping_add(self.0)
    }
}
impl Shape for Circle {
    #[inline(never)]
    fn area(&self, n: u32) -> u32 {
        work(n & 15).wrapping_mul(self.0)
    }
}
#[inline(never)]
fn by_trait_object(shapes: &[Box<dyn Shape>], n: u32) -> u32 {
    black_box(shapes.iter().map(|shape| shape.area(n)).fold(0, u32::wrapping_add)).wrapping_add(1)
}
#[inline(never)]
fn generic<T: Shape>(shape: &T, n: u32) -> u32 {
    black_box(shape.area(n)).wrapping_add(1)
}
#[inline(never)]
fn traits() {
    let shapes: Vec<Box<dyn Shape>> = vec![Box::new(Square(3)), Box::new(Circle(4))];
    let mut n = 0u32;
    loop {
        n = n.wrapping_add(1);
        black_box(by_trait_object(black_box(&shapes), n));
        black_box(generic(&Square(5), n) + generic(&Circle(6), n) % 7);
    }
}

// ---- closures that the library calls ----

#[inline(never)]
fn compare(left: &u32, right: &u32) -> std::cmp::Ordering {
    black_box(work(left & 7));
    left.cmp(right)
}
#[inline(never)]
fn sorting() {
    let mut seed = 1u32;
    loop {
        let mut numbers: Vec<u32> = (0..300u32).map(|i| i.wrapping_mul(7919).wrapping_add(seed) % 301).collect();
        numbers.sort_by(compare);
        seed = black_box(numbers[7]).wrapping_add(seed);
    }
}
#[inline(never)]
fn insert(words: &mut HashMap<String, u32>, n: u32) -> u32 {
    *words.entry(format!("word {}", n % 977)).or_insert(0) += n & 15;
    words.len() as u32 + work(n & 7)
}
#[inline(never)]
fn maps() {
    let mut words = HashMap::new();
    let mut n = 0u32;
    loop {
        n = n.wrapping_add(1);
        if black_box(insert(&mut words, n)) > 1000 {
            words.clear();
        }
    }
}

// ---- panics ----

struct Cleanup(u32);
impl Drop for Cleanup {
    #[inline(never)]
    fn drop(&mut self) {
        black_box(work(self.0 & 15));
    }
}
#[inline(never)]
fn panics(n: u32) -> u32 {
    if black_box(n) % 2 < 2 {
        panic::panic_any(n);
    }
    n
}
#[inline(never)]
fn cleans(n: u32) -> u32 {
    let _cleanup = Cleanup(n);
    black_box(panics(n)).wrapping_add(1)
}
#[inline(never)]
fn catching() {
    panic::set_hook(Box::new(|_| {}));
    let mut n = 0u32;
    loop {
        n = n.wrapping_add(1);
        let caught = panic::catch_unwind(|| cleans(black_box(n))).is_err();
        black_box(work(30000 + caught as u32)); // real programs do something else, too
    }
}
struct SpinsAtEnd;
impl Drop for SpinsAtEnd {
    #[inline(never)]
    fn drop(&mut self) {
        spin();
    }
}
#[inline(never)]
fn unwound(n: u32) -> u32 {
    let _object = SpinsAtEnd;
    black_box(panics(n)).wrapping_add(1)
}
#[inline(never)]
fn spin_drop() {
    panic::set_hook(Box::new(|_| {}));
    black_box(panic::catch_unwind(|| unwound(black_box(2))).is_err());
}
#[inline(never)]
fn spin_hook() {
    panic::set_hook(Box::new(|_| spin()));
    black_box(panic::catch_unwind(|| panics(black_box(2))).is_err());
}

// ---- threads ----

#[inline(never)]
fn spin_thread() {
    let boxed: Box<dyn FnOnce(u32) -> u32 + Send> = Box::new(|n| {
        spin();
        n
    });
    let thread = thread::Builder::new().spawn(move || boxed(3)).unwrap();
    black_box(thread.join().unwrap());
}
#[inline(never)]
fn spin_sort() {
    let mut numbers: Vec<u32> = (0..100).rev().map(|i| i * 31 % 17).collect();
    numbers.sort_by_key(|&number| {
        spin();
        number
    });
    black_box(numbers);
}

fn main() {
    let station = std::env::args().nth(1).unwrap_or_default();
    match station.as_str() {
        "traits" => traits(),
        "sorting" => sorting(),
        "maps" => maps(),
        "catching" => catching(),
        "spin_drop" => spin_drop(),
        "spin_hook" => spin_hook(),
        "spin_thread" => spin_thread(),
        "spin_sort" => spin_sort(),
        _ => std::process::exit(2),
    }
}
