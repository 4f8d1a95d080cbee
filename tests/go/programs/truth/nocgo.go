//go:build !cgo

package main

func native(int) int { return 0 }
