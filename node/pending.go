package node

import (
	"github.com/micelio/micelio/console"
	"github.com/micelio/micelio/object"
)

type slowest struct{}

func (slowest) list() []console.Request                    { return []console.Request{} }
func (n *Node) shown(key object.Key) string                { return string(key) }
func (m *meter) answerCounts() []console.AnswerCount       { return nil }
func (m *meter) totals() (requests, failed, in, out int64) { return }
