// Package history judges what clients saw of a store: it takes the operations
// of a run, each with its times and its outcome, and says whether they could
// have come from one register for each key that does one thing at a time.
//
// It knows nothing of how the operations came about. The simulation of a cluster
// and the tests with real processes record into it; no program of ours contains
// it.
package history
