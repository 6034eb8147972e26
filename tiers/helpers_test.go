package tiers_test

import "runtime"

// yield lets other goroutines run while a test polls for a state that it
// knows to come.
func yield() { runtime.Gosched() }
