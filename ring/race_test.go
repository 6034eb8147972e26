//go:build race

package ring

// raceEnabled says that every access costs ten times as much.
const raceEnabled = true
