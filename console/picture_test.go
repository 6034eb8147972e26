package console

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
)

var pictures = flag.String("pictures", "", "write pictures of the page of a made-up node into this folder")

// TestPictures is no test: go test ./console -run TestPictures -pictures FOLDER
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("draws with -pictures only")
	}
	b := startBrowser(t)
	origin := "http://" + *demo
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1440, 390} {
			p := b.open(t, origin+"/#key=artifacts%2Fsha256:9f0c1a", width, 1000, scheme)
			p.until(`document.querySelectorAll("#hot tr").length > 3 && document.querySelector("#chart-times path") && document.querySelector("#where table")`)
			height := p.eval(`document.documentElement.scrollHeight`).(float64)
			p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": int(height) + 10, "deviceScaleFactor": 1, "mobile": width < 600})
			p.eval(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))`)
			p.picture(filepath.Join(*pictures, fmt.Sprintf("%s-%d.png", scheme, width)))
			p.faultless(origin)
		}
	}
}
