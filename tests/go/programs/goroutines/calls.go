package main

import (
	"bytes"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

type waiter interface{ Wait(int) int }

type inner struct{ base int }

//go:noinline
func (i inner) Wait(n int) int { return <-forever + i.base + n }

//go:noinline
func (i *inner) WaitByPointer(n int) int { return <-forever + i.base + n }

// The compiler makes the methods of a type that embeds another one, and those of a pointer to it.
type outer struct {
	name string
	inner
}

type outermost struct{ *outer }

type box[T any] struct{ content T }

//go:noinline
func (b *box[T]) open(channel chan T) T { b.content = <-channel; return b.content }

func (b box[T]) each(visit func(T)) { visit(b.content) }

//go:noinline
func generic[K comparable, V any](channel chan map[K]V) int {
	await := func() map[K]V { return <-channel }
	return len(await())
}

var waiters = []waiter{inner{1}, &inner{2}, outer{}, &outer{}, outermost{&outer{}}, &outermost{&outer{}}}

func callInManyWays() {
	for _, w := range waiters {
		w := w
		go w.Wait(1)
		go func() { w.Wait(2) }()
	}
	value := (&inner{3}).WaitByPointer
	go value(3)
	expression := outer.Wait
	go func() { expression(outer{}, 4) }()
	go (&box[string]{}).open(make(chan string))
	go (&box[[3]int]{}).open(make(chan [3]int))
	go generic(make(chan map[string]int))
	go generic(make(chan map[[2]int]*inner))
	go box[int]{1}.each(func(n int) { <-forever })
	go func() {
		func() {
			func() { waiters[0].Wait(5) }()
		}()
	}()
	go hostOfInlined(forever)
	go inlinedInOneAnother(7)
	go reflect.ValueOf(waiters[1].Wait).Call([]reflect.Value{reflect.ValueOf(6)})
	go reflect.ValueOf(waiters[2]).Method(0).Interface().(func(int) int)(7)
	go func() {
		made := reflect.MakeFunc(reflect.TypeOf(ended), func([]reflect.Value) []reflect.Value { <-forever; return nil })
		made.Interface().(func())()
	}()
	go slices.SortFunc([]int{3, 1, 2}, func(a, b int) int { return <-forever })
	go strings.Map(func(r rune) rune { return rune(<-forever) }, "text")
	go variadic(1, "two", 3.0, nil, inner{}, [6]int{}, true, 'x')
	go wide(huge{}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
}

// One address, five functions.
func inlined1(channel chan int) int { return inlined2(channel) + 1 }
func inlined2(channel chan int) int { return inlined3(channel) + 2 }
func inlined3(channel chan int) int { return inlined4(channel) + 3 }
func inlined4(channel chan int) int { return <-channel }

//go:noinline
func hostOfInlined(channel chan int) int { return inlined1(channel) * 2 }

//go:noinline
func inlinedInOneAnother(n int) int {
	if n == 0 {
		return inlined2(forever)
	}
	return oneDown(n) + 1
}

func oneDown(n int) int { return inlinedInOneAnother(n - 1) }

//go:noinline
func variadic(things ...any) int { return <-forever + len(things) }

type huge struct {
	numbers [40]int
	text    string
	nested  struct {
		deeper struct{ deepest struct{ x, y int } }
	}
}

//go:noinline
func wide(h huge, a, b, c, d, e, f, g, i, j, k, l, m int) int {
	return <-forever + len(h.text) + a + b + c + d + e + f + g + i + j + k + l + m
}

// A panic whose deferred call blocks stands still in the midst of it.
func panicInManyWays() {
	go panicking()
	go panickingTwice()
	go dereferencing(nil)
	go dividing(0)
	go indexing([]int{1, 2, 3}, 5)
	go slicing([]byte("text"), 9)
	go asserting(5)
	go exiting()
	go recovered()
	go deferredInLoop(3)
	go deferredOnReturn(1)
	mapping, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	must(err)
	go faultingInAssembly(mapping)
}

//go:noinline
func block() { <-forever }

//go:noinline
func blockOn(n int) { inlined1(forever) }

//go:noinline
func panicking() {
	defer block()
	panic("nobody sees this")
}

func panickingTwice() {
	defer block()
	defer func() { panic("again") }()
	panic("nobody sees this")
}

//go:noinline
func dereferencing(nothing *inner) int {
	defer func() {
		defer func() { println(recover()) }()
		block()
	}()
	return nothing.base
}

//go:noinline
func dividing(by int) int {
	defer block()
	return 7 / by
}

//go:noinline
func indexing(numbers []int, at int) int {
	defer block()
	return numbers[at]
}

//go:noinline
func slicing(text []byte, from int) []byte {
	defer block()
	return text[from:]
}

//go:noinline
func asserting(value any) string {
	defer block()
	return value.(string)
}

func exiting() {
	defer block()
	runtime.Goexit()
}

func recovered() {
	defer func() {
		println := recover()
		block()
		panic(println)
	}()
	var nothing map[string]int
	nothing["one"] = 1
}

func deferredInLoop(n int) {
	for i := 0; i < n; i++ {
		defer blockOn(i)
	}
}

//go:noinline
func deferredOnReturn(n int) (result int) {
	defer blockOn(n)
	if n > 0 {
		defer ended()
	}
	return n
}

// The instruction that faults is in a function without a frame that is no Go code.
func faultingInAssembly(unreadable []byte) {
	debug.SetPanicOnFault(true)
	defer block()
	bytes.Compare(unreadable[:4096], unreadable[4096:])
}

func recurse() {
	go down(60, forever)
	go down(3000, forever)
	go downInTurns(45, 1.5)
	go downInTurns(200, 2.5)
	// Go shows 100 frames: as many as it shows exactly, and around it.
	for depth := 90; depth < 104; depth++ {
		go down(depth, forever)
	}
}

//go:noinline
func down(depth int, channel chan int) int {
	if depth == 0 {
		return <-channel
	}
	return down(depth-1, channel) + 1
}

//go:noinline
func downInTurns(depth int, x float64) float64 {
	if depth == 0 {
		return float64(inlined1(forever))
	}
	return turn(depth, x) * 2
}

func turn(depth int, x float64) float64 { return downInTurns(depth-1, x+1) }
