//go:build race

package node

// raceEnabled says that every access costs ten times as much.
const raceEnabled = true
