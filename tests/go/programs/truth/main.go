// Truth is a program that keeps the CPUs busy with every kind of Go call and answers questions about its own
// code addresses. It reads lines on standard input and prints one line of JSON for each:
//
//	leaf HEXPC                the frames of exactly that address
//	caller HEXPC              the frames of a return address
//	cpuprofile SECONDS FILE   a CPU profile by runtime/pprof; prints a line when it starts and one when it ends
//	quit
//
// Its first line of output says {"pid": .., "version": .., "main": address of main.main}.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"truth/expand"
)

type answer struct {
	Address string         `json:"address"`
	Frames  []expand.Frame `json:"frames"`
}

func main() {
	workers := flag.Int("workers", runtime.NumCPU(), "goroutines that keep CPUs busy")
	flag.Parse()
	// Collections interrupt goroutines by signals, and a SIGPROF that arrives with one is counted in
	// runtime.asyncPreempt: keep them rare, so that the program's own profile shows where time goes.
	debug.SetGCPercent(1000)
	for range make([]struct{}, *workers) {
		go worker()
	}
	output := json.NewEncoder(os.Stdout)
	output.Encode(map[string]any{
		"pid":     os.Getpid(),
		"version": runtime.Version(),
		"main":    fmt.Sprintf("%#x", reflect.ValueOf(main).Pointer()),
	})
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		if len(words) == 0 || words[0] == "quit" {
			return
		}
		if err := obey(output, words); err != nil {
			output.Encode(map[string]string{"error": err.Error()})
		}
	}
}

func obey(output *json.Encoder, words []string) error {
	switch {
	case words[0] == "leaf" && len(words) == 2:
		return describe(output, words[1], expand.Leaf)
	case words[0] == "caller" && len(words) == 2:
		return describe(output, words[1], expand.Caller)
	case words[0] == "cpuprofile" && len(words) == 3:
		return cpuProfile(output, words[1], words[2])
	}
	return fmt.Errorf("not understood: %s", strings.Join(words, " "))
}

func describe(output *json.Encoder, address string, frames func(uintptr) []expand.Frame) error {
	pc, err := strconv.ParseUint(strings.TrimPrefix(address, "0x"), 16, 64)
	if err != nil {
		return err
	}
	return output.Encode(answer{address, frames(uintptr(pc))})
}

func cpuProfile(output *json.Encoder, seconds, name string) error {
	duration, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	output.Encode(map[string]string{"cpuprofile": "started"})
	time.Sleep(time.Duration(duration * float64(time.Second)))
	pprof.StopCPUProfile()
	return output.Encode(map[string]string{"cpuprofile": name})
}
