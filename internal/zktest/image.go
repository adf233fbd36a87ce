package zktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"
)

const (
	// officialImage is what ZooKeeper's users run.
	officialImage = "zookeeper:3.9"
	// debianImage is made here when officialImage cannot be had. Its tag counts
	// the recipe's versions: raise it with every change to build.go.
	debianImage = "zkelection/zktest-zookeeper:1"
	// answerLimit bounds the wait for the registry's first word, and pullLimit
	// the transfer that follows. Without a registry the tests go on without delay.
	answerLimit = 10 * time.Second
	pullLimit   = 3 * time.Minute
)

// ensureImage returns an image that the engine has, and makes one if need be.
func (e *engine) ensureImage(ctx context.Context) (string, error) {
	e.imageMu.Lock()
	defer e.imageMu.Unlock()
	defer e.done()
	if e.image != "" {
		return e.image, nil
	}
	if name := os.Getenv("ZKTEST_IMAGE"); name != "" {
		e.image = name // testcontainers pulls it if need be
		return name, nil
	}
	if name := e.localImage(ctx); name != "" {
		e.image = name
		return name, nil
	}
	// One process of the machine makes the image; the others wait here, then find it.
	unlock, err := lockFile(ctx, "image")
	if err != nil {
		return "", err
	}
	defer unlock()
	e.image, err = e.obtainImage(ctx)
	return e.image, err
}

// localImage prefers the official image over one that was made here.
func (e *engine) localImage(ctx context.Context) string {
	for _, name := range []string{officialImage, debianImage} {
		if _, err := e.cli.ImageInspect(ctx, name); err == nil {
			return name
		}
	}
	return ""
}

// obtainImage looks again, now that it holds the lock, then pulls, then builds.
func (e *engine) obtainImage(ctx context.Context) (string, error) {
	if name := e.localImage(ctx); name != "" {
		return name, nil
	}
	if e.pullErr == nil {
		e.pullErr = e.pull(ctx, officialImage)
	}
	if e.pullErr == nil {
		return officialImage, nil
	}
	if err := e.build(ctx, debianImage); err != nil {
		return "", errors.Join(e.pullErr, err)
	}
	return debianImage, nil
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
