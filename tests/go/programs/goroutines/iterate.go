//go:build go1.23

package main

import (
	"iter"
	"maps"
)

var pulled []func() (int, bool)

func iterate() {
	next, _ := iter.Pull(numbers)
	next()
	pulled = append(pulled, next)
	unbegun, _ := iter.Pull(numbers)
	pulled = append(pulled, unbegun)
	blocking, _ := iter.Pull(blockedNumbers)
	go blocking()
	pairs, _ := iter.Pull2(maps.All(map[string]int{"one": 1, "two": 2}))
	pairs()
	kept = append(kept, pairs)
	go rangeOverFunction()
	go rangeOverNested()
}

func numbers(yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}

func blockedNumbers(yield func(int) bool) { yield(<-forever) }

func rangeOverFunction() (sum int) {
	for n := range numbers {
		defer ended()
		sum += n
		if n == 3 {
			<-forever
		}
	}
	return sum
}

func rangeOverNested() int {
	for a := range numbers {
		for b := range blockedNumbers {
			return a + b
		}
	}
	return 0
}
