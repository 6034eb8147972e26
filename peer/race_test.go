//go:build race

package peer

// raceEnabled says that every access costs ten times as much.
const raceEnabled = true
