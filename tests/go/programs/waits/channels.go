package main

import (
	"fmt"
	"slices"
	"time"
)

func makeChannels() {
	unbuffered, sent := make(chan int), make(chan string)
	for range [3]int{} {
		start("receive", addressOf(unbuffered), nil, func() { <-unbuffered })
	}
	start("send", addressOf(sent), nil, func() { sent <- "text" })
	full, half := make(chan [5]int, 4), make(chan bool, 7)
	for range [4]int{} {
		full <- [5]int{}
	}
	for range [2]int{} {
		start("send to full", addressOf(full), nil, func() { full <- [5]int{} })
	}
	half <- true
	var none chan int
	start("nil", 0, nil, func() { <-none })
	start("nothing", 0, nil, func() { select {} })
	start("sleep", 0, nil, func() { time.Sleep(time.Hour) })
	tick := time.NewTimer(time.Hour)
	start("timer", addressOf(tick.C), nil, func() { <-tick.C })

	semaphore := make(chan struct{}, 2)
	semaphore <- struct{}{}
	semaphore <- struct{}{}
	for range [5]int{} {
		start("semaphore", addressOf(semaphore), nil, func() { semaphore <- struct{}{} })
	}
	makeSelects(unbuffered, full)
	tell(sent, 1, 0)
	tell(semaphore, 5, 0)
	tell(tick.C, 0, 1)
}

func makeSelects(unbuffered chan int, full chan [5]int) {
	own, twoWay := make(chan bool, 3), make(chan int)
	first, others := inOrder(addressOf(unbuffered), addressOf(full), addressOf(own))
	for range [2]int{} {
		start("select", first, others, func() {
			select {
			case <-unbuffered:
			case full <- [5]int{1}:
			case <-own:
			}
		})
	}
	// It is the same channel twice: what it sends it does not receive itself.
	for range [3]int{} {
		lonely := make(chan int)
		start("both", addressOf(lonely), nil, func() {
			select {
			case lonely <- 1:
			case <-lonely:
			}
		})
		tell(lonely, 1, 1)
	}
	start("select of one", addressOf(twoWay), nil, func() {
		var none chan int
		select {
		case <-twoWay:
		case <-none:
		}
	})
	tell(unbuffered, 0, 5)
	tell(full, 4, 0)
	tell(own, 0, 2)
	tell(twoWay, 0, 1)
}

func inOrder(addresses ...uint64) (uint64, []uint64) {
	slices.Sort(addresses)
	return addresses[0], addresses[1:]
}

func makeCrowd(kind string, count int) {
	wait, ready := crowds()[kind], make(chan bool)
	if wait == nil {
		panic(fmt.Sprint("no such crowd: ", kind))
	}
	for i := 0; i < count; i++ {
		go func() {
			ready <- true
			wait()
		}()
		<-ready
	}
}
