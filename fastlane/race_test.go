//go:build race

package fastlane_test

// raceEnabled says that pools drop what they are given now and then.
const raceEnabled = true
