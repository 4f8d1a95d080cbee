package main

import (
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
)

func label() {
	empty := context.Background()
	thirty := make([]string, 0, 60)
	for i := 0; i < 30; i++ {
		thirty = append(thirty, fmt.Sprintf("key%d", i), fmt.Sprintf("value %d", i*i))
	}
	go labelled(empty, "endpoint", "/users")
	go labelled(empty, "endpoint", "/users/:id", "method", "GET", "tenant", "acme")
	go labelled(empty, thirty...)
	go labelled(empty, "größe", "日本語 ✓", "empty", "", "quoted", `a "b" \c`, "newline", "a\nb: c, {d}")
	go labelled(empty, "long", strings.Repeat("0123456789", 200))
	go nested()
	go withChild()
	go withoutAgain()
}

func labelled(ctx context.Context, pairs ...string) {
	pprof.Do(ctx, pprof.Labels(pairs...), func(context.Context) {
		know(pairs...)
		<-forever
	})
}

func nested() {
	pprof.Do(context.Background(), pprof.Labels("a", "1", "b", "2"), func(ctx context.Context) {
		pprof.Do(ctx, pprof.Labels("b", "3", "c", "4"), func(context.Context) {
			know("a", "1", "b", "3", "c", "4")
			<-forever
		})
	})
}

func withChild() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("family", "yes")))
	know("family", "yes")
	go func() {
		know("family", "yes")
		go func() {
			know("family", "yes")
			<-forever
		}()
		<-forever
	}()
	<-forever
}

func withoutAgain() {
	pprof.Do(context.Background(), pprof.Labels("gone", "yes"), func(context.Context) {})
	<-forever
}

// know notes the labels that this goroutine has.
func know(pairs ...string) {
	labels := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	id := goroutineID()
	knownLock.Lock()
	defer knownLock.Unlock()
	known.Labels[id] = labels
}
