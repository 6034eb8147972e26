package ring

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

var (
	secretA = []byte("secret a, long enough for a test")
	secretB = []byte("secret b, long enough for a test")
)

// withSecrets is quickConfig with secrets, the first of which is used.
func withSecrets(id string, secrets [][]byte, seeds ...string) Config {
	cfg := quickConfig(id, seeds...)
	if len(secrets) > 0 {
		cfg.Secret, cfg.AcceptSecrets = secrets[0], secrets[1:]
	}
	return cfg
}

func TestThreeNodesWithASecretAgree(t *testing.T) {
	first := start(t, withSecrets("n1", [][]byte{secretA}))
	rings := []*Ring{first}
	for _, id := range []string{"n2", "n3"} {
		rings = append(rings, start(t, withSecrets(id, [][]byte{secretA}, first.Addr())))
	}
	for _, r := range rings {
		await(t, r, "three members", func(v *View) bool { return len(v.owners) == 3 })
	}
	if err := rings[2].SetState(t.Context(), Draining); err != nil {
		t.Fatal(err)
	}
	for _, r := range rings {
		await(t, r, "n3 draining", func(v *View) bool { return v.Share("n3") == 0 })
		for _, refused := range r.Refusals() {
			if refused.Count != 0 {
				t.Errorf("%s refused %+v", r.Self().ID, refused)
			}
		}
	}
}

// A secret is changed in three rounds over all nodes: the new one is accepted,
// then used, then the old one goes. Each node meets those of the round before.
func TestASecretIsChangedNodeByNode(t *testing.T) {
	rounds := [][][]byte{{secretA}, {secretA, secretB}, {secretB, secretA}, {secretB}}
	for i := range len(rounds) - 1 {
		first := start(t, withSecrets("n1", rounds[i]))
		second := start(t, withSecrets("n2", rounds[i+1], first.Addr()))
		third := start(t, withSecrets("n3", rounds[i], second.Addr()))
		for _, r := range []*Ring{first, second, third} {
			await(t, r, "three members", func(v *View) bool { return len(v.owners) == 3 })
		}
	}
}

// Whoever is not of the cluster is kept out, and both sides say why and what to do.
func TestWhoDoesNotBelongIsRefusedOnBothSides(t *testing.T) {
	for name, c := range map[string]struct {
		here, there       [][]byte
		cluster           string // of the other
		reason, theReason string // what this node says, and the one that wants to join
	}{
		"another secret":     {here: [][]byte{secretA}, there: [][]byte{secretB}, reason: refusedSecret, theReason: refusedSecret},
		"no secret":          {here: [][]byte{secretA}, reason: refusedSecret, theReason: refusedSecret},
		"a secret, here not": {there: [][]byte{secretB}, reason: refusedSecret, theReason: refusedSecret},
		"another name":       {cluster: "other", reason: refusedName, theReason: refusedUnanswered},
		"another name, one secret": {here: [][]byte{secretA}, there: [][]byte{secretA}, cluster: "other",
			reason: refusedName, theReason: refusedUnanswered},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := newRecords(), newRecords()
			cfg := withSecrets("n1", c.here)
			cfg.Log = slog.New(here)
			first := start(t, cfg)
			view := first.View()

			cfg = withSecrets("n2", c.there, first.Addr())
			cfg.Log = slog.New(there)
			if c.cluster != "" {
				cfg.Cluster = c.cluster
			}
			second := start(t, cfg)
			here.await(t, "WARN refused in the gossip", "reason="+c.reason, "remedy=")
			there.await(t, "WARN refused in the gossip", "reason="+c.theReason, first.Addr(), "remedy=")

			if first.View() != view {
				t.Errorf("the view changed to %+v", first.View().Members())
			}
			if n := len(second.View().Members()); n != 1 || second.Joined() {
				t.Errorf("the other one sees %d members, joined: %v", n, second.Joined())
			}
			for _, r := range second.Refusals() {
				if r.Reason == c.theReason && (r.Count == 0 || r.From != first.Addr() || r.Remedy == "") {
					t.Errorf("it reports %+v", r)
				}
			}
			if r := second.RefusedBy(); r.Count == 0 || r.Reason != c.theReason || r.From != first.Addr() || r.Remedy == "" {
				t.Errorf("it was refused by %+v", r)
			}
			if r := first.RefusedBy(); r.Count != 0 {
				t.Errorf("who asked nobody was refused: %+v", r)
			}
		})
	}
}

func TestUnusableSecretsAreErrors(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"none to use":                 func(c *Config) { c.AcceptSecrets = [][]byte{secretA} },
		"secret 1 to accept is empty": func(c *Config) { c.Secret, c.AcceptSecrets = secretA, [][]byte{nil} },
	} {
		cfg := quickConfig("n1")
		edit(&cfg)
		r, err := Open(cfg)
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

// A key must be good for one cluster and one purpose only, and the same on all
// nodes of all versions: another derivation would split every cluster that is
// updated node by node.
func TestTheGossipKeyDependsOnSecretAndName(t *testing.T) {
	c := Config{Secret: secretA, Cluster: "test"}
	if got := fmt.Sprintf("%x", gossipKey(t, c)); got != "705f33abcfab2ce5da866258cd258b22af7ccd73e91c0ab40963fa4c64540a03" {
		t.Errorf("the key is %s", got)
	}
	seen := map[string]string{}
	for _, c := range []Config{
		{Secret: secretA, Cluster: "a"}, {Secret: secretB, Cluster: "a"}, {Secret: secretA, Cluster: "b"}, {Secret: secretA},
	} {
		ring, err := c.keyring()
		if err != nil {
			t.Fatal(err)
		}
		key := string(ring.GetPrimaryKey())
		if len(key) != gossipKeySize || key == string(c.Secret) {
			t.Errorf("%d bytes of key", len(key))
		}
		if other, ok := seen[key]; ok {
			t.Errorf("the keys of %q in %q and of %s are one", c.Secret, c.Cluster, other)
		}
		seen[key] = string(c.Secret) + " in " + c.Cluster
	}
}
