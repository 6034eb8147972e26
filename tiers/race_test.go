//go:build race

package tiers_test

// raceEnabled says that every access costs ten times as much.
const raceEnabled = true
