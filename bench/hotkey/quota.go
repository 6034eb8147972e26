package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A quota is a control group that lets a process have so much of one processor,
// so that each node has a machine of its own, if a slow one.
type quota struct{ dir string }

// quotaPeriod is what a quota is of, in microseconds: short, so that a process that
// has used it up waits for milliseconds.
const quotaPeriod = 20_000

// limit puts a process under a quota, a part of one processor. It needs root and
// control groups of either version.
func limit(pid int, name string, part float64) (*quota, error) {
	use := int(part * quotaPeriod)
	var errs []error
	for _, v := range []struct {
		root     string
		settings [][2]string
	}{
		{"/sys/fs/cgroup/cpu", [][2]string{{"cpu.cfs_period_us", fmt.Sprint(quotaPeriod)}, {"cpu.cfs_quota_us", fmt.Sprint(use)}}},
		{"/sys/fs/cgroup", [][2]string{{"cpu.max", fmt.Sprintf("%d %d", use, quotaPeriod)}}},
	} {
		q := &quota{filepath.Join(v.root, name)}
		err := os.Mkdir(q.dir, 0o755)
		for _, s := range append(v.settings, [2]string{"cgroup.procs", fmt.Sprint(pid)}) {
			if err == nil {
				// A control file is there already: it must not be created.
				err = write(filepath.Join(q.dir, s[0]), s[1])
			}
		}
		if err == nil {
			return q, nil
		}
		q.remove()
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// remove ends a quota whose processes have ended.
func (q *quota) remove() {
	if q != nil {
		_ = os.Remove(q.dir) // a group that is not there, or not empty, is nobody's harm
	}
}
