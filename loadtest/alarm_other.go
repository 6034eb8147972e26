//go:build !linux

package loadtest

import "context"

// newFileAlarm returns nil: only Linux has them, and needs them.
func newFileAlarm(context.Context) alarm { return nil }
