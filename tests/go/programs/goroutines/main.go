// Command goroutines brings up goroutines in every state that can stand still, so that a reading from outside can be
// held against the runtime's own account: start it with GOTRACEBACK=system, and SIGQUIT makes it print that and end.
//
//	goroutines states           every state there is, see states.go and what it calls
//	goroutines storm N          N parked goroutines while others allocate, grow stacks, begin and end at full speed
//	goroutines parked N         N parked goroutines, at a few depths
//	goroutines dead N M         the same, of which all but M have ended
//	goroutines leak RATE        RATE goroutines a second that block for ever
//	goroutines pool N           N workers that come back
//	goroutines burst N MS       grows to N within MS milliseconds, drains within as many, again and again
//	goroutines cache N          a cache that grows to N entries, each of which has a goroutine that ticks
//
// It prints a line of JSON about itself, then "ready". A line of standard input is a command, answered by a line when
// done; the end of standard input is the end of the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

var modes = map[string]func(numbers []int) any{
	"states": states, "storm": storm, "parked": parked, "dead": dead,
	"leak": leak, "pool": pool, "burst": burst, "cache": cache,
}

var commands = map[string]func(){"gc": collectGarbage, "finalizer": blockFinalizer, "leaks": findLeaks}

// forever is never sent on nor closed, and neverTaken never received from.
var forever, neverTaken = make(chan int), make(chan int)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var numbers []int
	for _, text := range os.Args[2:] {
		number, err := strconv.Atoi(text)
		must(err)
		numbers = append(numbers, number)
	}
	must(json.NewEncoder(os.Stdout).Encode(modes[os.Args[1]](numbers)))
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		commands[lines.Text()]()
		fmt.Println(lines.Text())
	}
}
