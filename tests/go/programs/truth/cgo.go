//go:build cgo

package main

/*
#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"encoding/json"
	"unsafe"

	"truth/expand"
)

// native spends time in C, half of it in C code that calls back into Go.
func native(n int) int {
	return int(C.native_work(C.int(n))) + int(C.native_callback(C.int(n/100)))
}

//export calledFromC
func calledFromC(n C.int) C.int { return C.int(leaf(int(n)*50, 3)) }

// describeAddress is how a process that has loaded this program as a shared library asks: the frames of an
// address as JSON, to be freed by the caller.
//
//export describeAddress
func describeAddress(pc C.ulonglong, isCaller C.int) *C.char {
	frames := expand.Leaf
	if isCaller != 0 {
		frames = expand.Caller
	}
	text, err := json.Marshal(frames(uintptr(pc)))
	if err != nil {
		return nil
	}
	return C.CString(string(text))
}

//export freeText
func freeText(text *C.char) { C.free(unsafe.Pointer(text)) }
