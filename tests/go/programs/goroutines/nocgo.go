//go:build !cgo

package main

func callNative() {}
