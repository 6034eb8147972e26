package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Save writes what somebody needs who wants to understand a failing history into
// dir, which is made if need be: history.json, which Load reads; faults.txt; and
// for each key with a fault a page that draws its operations on a line of time.
// It returns the names of the files.
func Save(dir string, ops []Op, faults []Fault, opt Options) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("history: save: %w", err)
	}
	encoded, err := json.MarshalIndent(ops, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("history: save: %w", err)
	}
	var text strings.Builder
	var guilty []string
	for _, f := range faults {
		fmt.Fprintln(&text, f)
		guilty = append(guilty, f.Key)
	}
	paths := []string{filepath.Join(dir, "history.json"), filepath.Join(dir, "faults.txt")}
	errs := []error{os.WriteFile(paths[0], append(encoded, '\n'), 0o644), os.WriteFile(paths[1], []byte(text.String()), 0o644)}
	for _, key := range keys(ops) {
		if !slices.Contains(guilty, key) {
			continue
		}
		path := filepath.Join(dir, strings.ReplaceAll(key, "/", "_")+".html")
		paths = append(paths, path)
		errs = append(errs, draw(path, ofKey(ops, key), opt))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("history: save: %w", err)
	}
	return paths, nil
}

// draw writes the page of one key.
func draw(path string, ops []Op, opt Options) error {
	m := model()
	_, info := porcupine.CheckOperationsVerbose(m, operations(needed(ops, opt)), max(opt.Timeout, defaultTimeout))
	return porcupine.VisualizePath(m, info, path)
}

// Load reads the operations that Save wrote.
func Load(path string) ([]Op, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("history: load: %w", err)
	}
	var ops []Op
	if err := json.Unmarshal(text, &ops); err != nil {
		return nil, fmt.Errorf("history: load %s: %w", path, err)
	}
	return ops, nil
}
