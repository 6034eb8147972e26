package console

import (
	"flag"
	"path/filepath"
	"testing"
	"time"
)

var pictures = flag.String("pictures", "", "write pictures of the page of a made-up node into this folder")

// TestPictures is no test: go test ./console -run TestPictures -pictures FOLDER
// makes pictures of a node that does well, and of one that does not.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("draws with -pictures only")
	}
	b := startBrowser(t)
	well := newScene(t, time.Hour)
	ill := newScene(t, 2*time.Minute)
	ill.set(func(s *Status) {
		s.Node.State = "not ready"
		s.Checks[1] = Check{Name: "ring", Text: "no member answers"}
		s.Checks[5] = Check{Name: "origin", Says: true, Text: "has not answered for 41s"}
		s.Ring.Agreed, s.Ring.Members[2].Epoch = false, "00ab3c77d2e01f54"
		s.Fills, s.FillCount, s.Hot, s.Tiers = nil, 0, nil, nil
	})
	for name, p := range map[string]struct {
		*scene
		hash          string
		width, height int
		scheme        string
	}{
		"light-1440": {well, "#key=artifacts%2Fsha256:" + digest(20), 1440, 1000, "light"},
		"dark-1440":  {well, "", 1440, 1000, "dark"},
		"light-390":  {well, "#key=artifacts%2Fsha256:" + digest(20), 390, 844, "light"},
		"dark-390":   {well, "", 390, 844, "dark"},
		"ill-1024":   {ill, "#key=%2Fa", 1024, 800, "light"},
		"ill-1920":   {ill, "", 1920, 1000, "dark"},
	} {
		page := b.open(t, p.url+"/"+p.hash, p.width, p.height, p.scheme)
		page.until(drawn + ` && (location.hash === "" || document.querySelector("#where table, #where .fault"))`)
		page.eval(`document.getElementById("ready").open = innerWidth === 1024; document.querySelector("#chart-times .plot").focus()`)
		height := page.eval(`document.documentElement.scrollHeight`).(float64)
		page.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": p.width, "height": int(height), "deviceScaleFactor": 1, "mobile": p.width < 600})
		page.eval(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))`)
		page.picture(filepath.Join(*pictures, name+".png"))
	}
}
