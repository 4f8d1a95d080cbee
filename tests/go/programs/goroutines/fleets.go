package main

import (
	"sync"
	"time"
)

// size is what a mode says of itself.
type size struct {
	Goroutines int `json:"goroutines"`
}

var parkedDepths = [16]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 5, 16}

func parked(numbers []int) any {
	park(numbers[0], numbers[0])
	return size{numbers[0]}
}

func dead(numbers []int) any {
	park(numbers[0], numbers[1])
	return size{numbers[1]}
}

// park starts so many goroutines and lets all end but those to stay, which are spread evenly.
func park(count, staying int) {
	leave := make(chan int)
	var arrived, gone sync.WaitGroup
	arrived.Add(count)
	gone.Add(count - staying)
	for i := 0; i < count; i++ {
		depth := parkedDepths[i%len(parkedDepths)]
		if i*staying/count != (i+1)*staying/count {
			go parkedAt(depth, &arrived)
		} else {
			go leaving(leave, &arrived, &gone)
		}
	}
	arrived.Wait()
	close(leave)
	gone.Wait()
}

//go:noinline
func parkedAt(depth int, arrived *sync.WaitGroup) int {
	if depth == 0 {
		arrived.Done()
		return <-forever
	}
	return parkedAt(depth-1, arrived) + 1
}

func leaving(leave chan int, arrived, gone *sync.WaitGroup) {
	arrived.Done()
	<-leave
	gone.Done()
}

func leak(numbers []int) any {
	go spawnLeaks(numbers[0])
	return size{}
}

// spawnLeaks asks, and does not wait for the answer.
func spawnLeaks(rate int) {
	begin := time.Now()
	for made := 0; ; time.Sleep(5 * time.Millisecond) {
		for due := int(time.Since(begin).Seconds() * float64(rate)); made < due; made++ {
			go neverReceived(make(chan int), made)
		}
	}
}

func neverReceived(answer chan int, value int) { answer <- value }

func pool(numbers []int) any {
	jobs := make(chan time.Duration)
	for i := 0; i < numbers[0]; i++ {
		go worker(jobs)
	}
	go func() {
		for i := 0; ; i++ {
			time.Sleep(time.Millisecond)
			jobs <- time.Duration(i%10) * time.Millisecond
		}
	}()
	return size{numbers[0]}
}

func worker(jobs chan time.Duration) {
	for job := range jobs {
		time.Sleep(job)
	}
}

func burst(numbers []int) any {
	go burstAlways(numbers[0], time.Duration(numbers[1])*time.Millisecond)
	return size{numbers[0]}
}

func burstAlways(count int, length time.Duration) {
	for {
		requests := make(chan bool)
		begin := time.Now()
		for made := 0; made < count; time.Sleep(5 * time.Millisecond) {
			for due := min(count, 1+int(float64(count)*float64(time.Since(begin))/float64(length))); made < due; made++ {
				go request(requests)
			}
		}
		begin = time.Now()
		for done := 0; done < count; time.Sleep(5 * time.Millisecond) {
			for due := min(count, 1+int(float64(count)*float64(time.Since(begin))/float64(length))); done < due; done++ {
				requests <- true
			}
		}
		time.Sleep(length / 4)
	}
}

func request(answers chan bool) { <-answers }

type entry struct {
	sync.Mutex
	swept int
}

func cache(numbers []int) any {
	go fillCache(numbers[0])
	return size{numbers[0]}
}

func fillCache(bound int) {
	entries := map[int]*entry{}
	for len(entries) < bound {
		e := &entry{}
		entries[len(entries)] = e
		go janitor(e)
		time.Sleep(10 * time.Millisecond)
	}
	kept = append(kept, entries)
	<-forever
}

func janitor(e *entry) {
	for {
		time.Sleep(50 * time.Millisecond)
		e.Lock()
		e.swept++
		e.Unlock()
	}
}
