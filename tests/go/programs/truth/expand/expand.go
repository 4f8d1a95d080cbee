// Package expand says what the runtime itself knows about a code address of the running program.
package expand

import (
	"runtime"
	_ "unsafe" // for go:linkname
)

// Frame is one logical frame, as runtime.CallersFrames gives it. System is the name in the table.
type Frame struct {
	Function  string `json:"function"`
	System    string `json:"system_name"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	StartLine int    `json:"start_line"`
}

// The runtime keeps these for runtime/pprof, which expands the last address of a sample with them.
//
//go:linkname expandFinalInlineFrame runtime/pprof.runtime_expandFinalInlineFrame
func expandFinalInlineFrame(stack []uintptr) []uintptr

//go:linkname frameStartLine runtime/pprof.runtime_FrameStartLine
func frameStartLine(frame *runtime.Frame) int

//go:linkname frameSymbolName runtime/pprof.runtime_FrameSymbolName
func frameSymbolName(frame *runtime.Frame) string

// Caller gives the frames of a return address, innermost first. It is empty for an address outside Go's text.
func Caller(pc uintptr) []Frame {
	stack := expandFinalInlineFrame([]uintptr{pc})
	if len(stack) == 0 { // nothing but wrappers: the runtime shows the innermost
		stack = []uintptr{pc}
	}
	result := []Frame{}
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		if frame.PC != 0 {
			result = append(result, Frame{
				frame.Function, frameSymbolName(&frame), frame.File, frame.Line, frameStartLine(&frame),
			})
		}
		if !more {
			return result
		}
	}
}

// Leaf gives the frames of an address exactly, innermost first. It is nil at the last byte of a function,
// where runtime.CallersFrames cannot be asked: the address after it, which it wants, is the next function's.
func Leaf(pc uintptr) []Frame {
	here, next := runtime.FuncForPC(pc), runtime.FuncForPC(pc+1)
	if here != nil && (next == nil || next.Entry() != here.Entry()) {
		return nil
	}
	return Caller(pc + 1)
}
