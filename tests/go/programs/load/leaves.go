package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

const (
	mixedSpins = 12_000
	spins      = 2_000_000
)

// leafKinds is what chains end in; equally often.
var leafKinds = []func(*worker) uint64{
	callFrameless, hostOfInlined, encode, decode, hash, allocate, sortNumbers, countInMap, format, enterKernel,
}

func mixed(w *worker) uint64    { return leafKinds[w.turn(uint64(len(leafKinds)))](w) }
func spinning(w *worker) uint64 { return frameless(w.value, spins) + 1 }

// frameless has no frame of its own: it never pushes the frame pointer, so an unwinder by frame pointers loses its caller.
//
//go:noinline
func frameless(x uint64, n int) uint64 {
	for ; n > 0; n-- {
		x = x*0xaf251af3b0f025b5 + 5
	}
	return x
}

//go:noinline
func callFrameless(w *worker) uint64 { return frameless(w.value, mixedSpins) + 1 }

func innermost(x uint64) uint64 { return scramble(x + 11) }
func middle(x uint64) uint64    { return innermost(x) ^ innermost(x>>7) }
func outermost(x uint64, n int) uint64 {
	for ; n > 0; n-- {
		x = middle(x)
	}
	return x
}

// hostOfInlined is one address, four functions.
//
//go:noinline
func hostOfInlined(w *worker) uint64 { return outermost(w.value, mixedSpins/6) }

type item struct {
	Name  string         `json:"name"`
	Price float64        `json:"price"`
	Stock map[string]int `json:"stock"`
	Parts []item         `json:"parts,omitempty"`
}

var (
	catalogue = item{"bicycle", 499.5, map[string]int{"north": 3, "south": 0}, []item{
		{"wheel", 80.25, map[string]int{"north": 12}, nil},
		{"saddle", 39, map[string]int{"south": 7}, nil},
	}}
	catalogueJSON, _ = json.Marshal(catalogue)
)

//go:noinline
func encode(*worker) uint64 {
	text, err := json.Marshal(&catalogue)
	if err != nil {
		panic(err)
	}
	return uint64(len(text))
}

//go:noinline
func decode(*worker) uint64 {
	var read item
	if err := json.Unmarshal(catalogueJSON, &read); err != nil {
		panic(err)
	}
	return uint64(len(read.Parts))
}

//go:noinline
func hash(w *worker) uint64 {
	var block [2048]byte
	block[0] = byte(w.value)
	sum := sha256.Sum256(block[:])
	return uint64(sum[0])
}

//go:noinline
func allocate(w *worker) uint64 {
	for i := uint64(0); i < 8; i++ {
		w.kept[w.next] = make([]byte, 256+scramble(w.value+i)%2048)
		w.next = (w.next + 1) % len(w.kept)
	}
	return uint64(w.next)
}

//go:noinline
func sortNumbers(w *worker) uint64 {
	numbers := make([]uint64, 96)
	for i := range numbers {
		numbers[i] = scramble(w.value + uint64(i))
	}
	slices.SortFunc(numbers, func(a, b uint64) int { return int(a>>1) - int(b>>1) })
	return numbers[0]
}

//go:noinline
func countInMap(w *worker) uint64 {
	x := w.value
	for i := 0; i < 120; i++ {
		x = scramble(x + 1)
		w.seen[x&0xfff]++
	}
	return x
}

//go:noinline
func format(w *worker) uint64 {
	var text strings.Builder
	for i := 0; i < 16; i++ {
		fmt.Fprintf(&text, "%d-%x ", i, w.value)
	}
	return uint64(text.Len())
}

//go:noinline
func enterKernel(*worker) uint64 {
	total := 0
	for i := 0; i < 16; i++ {
		total += syscall.Getppid()
	}
	return uint64(total)
}
