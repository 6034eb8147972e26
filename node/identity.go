package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// identity returns the node's stable id: the configured name, or one that is
// made at the first start and kept in the data directory. The host's name is
// only part of it: several nodes may share a host, and containers are named
// anew at every start.
func identity(cfg Config) (string, error) {
	if cfg.Name != "" {
		return cfg.Name, nil
	}
	path := filepath.Join(cfg.DataDir, "node-id")
	b, err := os.ReadFile(path)
	if err == nil {
		if id := strings.TrimSpace(string(b)); id != "" {
			return id, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the node's id: %w", err)
	}
	id := "node-" + strings.ToLower(rand.Text()[:10]) // 50 random bits
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		return "", fmt.Errorf("keeping the node's id: %w", err)
	}
	if err := os.WriteFile(path, []byte(id+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("keeping the node's id: %w", err)
	}
	return id, nil
}
