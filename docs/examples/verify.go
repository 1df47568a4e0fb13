// Receives webhooks of postback and believes only what verifies. Nothing but the standard library is needed.
//
//	WEBHOOK_SECRET=whsec_… go run verify.go 127.0.0.1:9911
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func verified(key []byte, headers http.Header, body []byte) bool {
	id, timestamp := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	age := time.Since(time.Unix(seconds, 0))
	if err != nil || age > 5*time.Minute || age < -5*time.Minute {
		return false // too old, too new, or no time at all
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Split(headers.Get("webhook-signature"), " ") { // two while a secret is rotated
		if hmac.Equal([]byte(expected), []byte(signature)) {
			return true
		}
	}
	return false
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) == 0 {
		log.Fatal("WEBHOOK_SECRET is not the secret of an endpoint")
	}
	hook := func(w http.ResponseWriter, r *http.Request) {
		// The bytes as they came: decoded and encoded again they would no longer fit the signature.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var event struct{ Type string }
		if err != nil || !verified(key, r.Header, body) || json.Unmarshal(body, &event) != nil {
			log.Print("refused")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		// Here: insert the id into a table where it is unique; if it was there, all is done already.
		log.Print("verified ", r.Header.Get("webhook-id"), " ", event.Type)
		w.WriteHeader(http.StatusNoContent)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], http.HandlerFunc(hook)))
}
