// Faults of the way to the simulator: calls that wait, and calls that are carried out while their reply gets lost.
package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"time"
)

// wireRule is about calls of a method. A count of 0 means all of them, until the rules are cleared.
type wireRule struct {
	Method    string `json:"method"`
	Count     int    `json:"count"`
	Delay     int    `json:"delayMs"`
	LoseReply bool   `json:"loseReply"`
}

type wire struct {
	mutex sync.Mutex
	rules []wireRule
	inner http.Handler
}

var methodName = regexp.MustCompile(`Body[^>]*>\s*<(?:\w+:)?(\w+)`)

func (w *wire) add(rule wireRule) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.rules = append(w.rules, rule)
}

func (w *wire) clear() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.rules = nil
}

// fate says what becomes of one call, and counts it.
func (w *wire) fate(method string) (delay time.Duration, isReplyLost bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	kept := w.rules[:0]
	for _, rule := range w.rules {
		if rule.Method == method {
			delay += time.Duration(rule.Delay) * time.Millisecond
			isReplyLost = isReplyLost || rule.LoseReply
			if rule.Count == 1 {
				continue
			}
			if rule.Count > 1 {
				rule.Count--
			}
		}
		kept = append(kept, rule)
	}
	w.rules = kept
	return delay, isReplyLost
}

func (w *wire) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/sdk" {
		w.inner.ServeHTTP(response, request)
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	name := ""
	if found := methodName.FindSubmatch(body); found != nil {
		name = string(found[1])
	}
	delay, isReplyLost := w.fate(name)
	select {
	case <-time.After(delay):
	case <-request.Context().Done():
		return
	}
	if !isReplyLost {
		w.inner.ServeHTTP(response, request)
		return
	}
	w.inner.ServeHTTP(httptest.NewRecorder(), request)
	panic(http.ErrAbortHandler) // Closes the connection without an answer.
}
