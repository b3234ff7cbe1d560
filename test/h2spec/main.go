// Command h2spec runs the suite of github.com/summerwind/h2spec, strict, against one server. Its last line of standard
// output is JSON: how many cases passed and were skipped, and which failed, as "http2/3.5/2: title".
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

type report struct {
	Passed  int      `json:"passed"`
	Skipped int      `json:"skipped"`
	Failed  []string `json:"failed"`
}

func (r *report) add(group *spec.TestGroup) {
	for n, test := range append(group.Tests, group.StrictTests...) {
		if test.Result != nil && test.Result.Failed {
			r.Failed = append(r.Failed, fmt.Sprintf("%s/%d: %s", group.ID(), n+1, test.Desc))
		}
	}
	for _, inner := range group.Groups {
		r.add(inner)
	}
}

func main() {
	port := flag.Int("port", 0, "of the server, on 127.0.0.1")
	tls := flag.Bool("tls", false, "connect over TLS, whatever its certificate is")
	flag.Parse()
	c := &config.Config{
		Host: "127.0.0.1", Port: *port, Path: "/", TLS: *tls, Insecure: *tls,
		Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true,
	}
	// What the suite prints for people goes to standard error.
	out := os.Stdout
	os.Stdout = os.Stderr
	r := report{Failed: []string{}}
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(c)
		r.Passed += group.PassedCount
		r.Skipped += group.SkippedCount
		r.add(group)
	}
	if err := json.NewEncoder(out).Encode(r); err != nil {
		os.Exit(1)
	}
}
