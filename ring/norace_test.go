//go:build !race

package ring

// raceEnabled says that nothing costs more than it does.
const raceEnabled = false
