package com.thecookiezen.microservices.infrastructure.status;

/** The post's payload. */
public class InstanceDetails {
    private boolean leader;

    public InstanceDetails() {}

    public InstanceDetails(boolean leader) {
        this.leader = leader;
    }

    public boolean isLeader() {
        return leader;
    }

    public void setLeader(boolean leader) {
        this.leader = leader;
    }
}
