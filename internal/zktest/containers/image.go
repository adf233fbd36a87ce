package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"
)

const (
	// answerLimit bounds the wait for the registry's first word, and pullLimit
	// the transfer that follows. Without a registry the tests go on without delay.
	answerLimit = 10 * time.Second
	pullLimit   = 3 * time.Minute
)

// ensureImage returns an image of that version that the engine has, and makes one if need be.
func (e *engine) ensureImage(ctx context.Context, version string) (string, error) {
	e.imageMu.Lock()
	defer e.imageMu.Unlock()
	if name := os.Getenv("ZKTEST_IMAGE"); name != "" {
		return name, nil // testcontainers pulls it if need be
	}
	if name := e.images[version]; name != "" {
		return name, nil
	}
	r, err := releaseOf(version)
	if err != nil {
		return "", err
	}
	name := e.localImage(ctx, r)
	if name == "" {
		if name, err = e.obtainImage(ctx, r); err != nil {
			return "", err
		}
	}
	e.images[version] = name
	return name, nil
}

// localImage prefers the official image over one that was made here.
func (e *engine) localImage(ctx context.Context, r release) string {
	for _, name := range []string{r.official, r.debianImage()} {
		if _, err := e.cli.ImageInspect(ctx, name); err == nil {
			return name
		}
	}
	return ""
}

// obtainImage pulls, then builds. One process of the machine does; the others wait here, then find the image.
func (e *engine) obtainImage(ctx context.Context, r release) (string, error) {
	unlock, err := lockFile(ctx, "image")
	if err != nil {
		return "", err
	}
	defer unlock()
	if name := e.localImage(ctx, r); name != "" {
		return name, nil
	}
	if e.pullErrs[r.version] == nil {
		e.pullErrs[r.version] = e.pull(ctx, r.official)
	}
	if e.pullErrs[r.version] == nil {
		return r.official, nil
	}
	if err := e.build(ctx, r); err != nil {
		return "", errors.Join(e.pullErrs[r.version], err)
	}
	return r.debianImage(), nil
}

// pull gives up soon when no registry answers, but not on one that is slow to send.
func (e *engine) pull(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	unanswered := time.AfterFunc(answerLimit, cancel)
	defer unanswered.Stop()
	res, err := e.cli.ImagePull(ctx, name, client.ImagePullOptions{})
	if err != nil {
		return fmt.Errorf("zktest: pull %s: %w", name, err)
	}
	for msg, err := range res.JSONMessages(ctx) {
		unanswered.Stop()
		if err == nil && msg.Error != nil {
			err = msg.Error
		}
		if err != nil {
			return fmt.Errorf("zktest: pull %s: %w", name, err)
		}
	}
	return nil
}
