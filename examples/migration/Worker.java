import java.time.Instant;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.retry.RetryForever;

/** The service before the migration. The worker that leads does jobs. */
public final class Worker {
    static String id;
    static boolean leading; // guarded by the class

    public static void main(String[] args) throws Exception {
        id = args[0];
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(args[1])
            .sessionTimeoutMs(Integer.parseInt(args[2])).connectionTimeoutMs(Integer.parseInt(args[2]))
            .retryPolicy(new RetryForever(50)).build();
        LeaderLatch latch = new LeaderLatch(client, args[3], id, LeaderLatch.CloseMode.NOTIFY_LEADER);
        latch.addListener(new LeaderLatchListener() {
            @Override
            public void isLeader() {
                lead();
            }

            @Override
            public void notLeader() {
                stop();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop(); // before close, because close deletes the znode before it notifies its listeners
            try {
                latch.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
            client.close();
        }));
        client.start();
        latch.start();
        Thread.currentThread().join(); // for ever, until SIGTERM
    }

    static synchronized void lead() {
        leading = true;
        say("gained");
        new Thread(() -> {
            while (job()) {
                try {
                    Thread.sleep(5);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }).start();
    }

    static synchronized void stop() {
        if (leading) {
            leading = false;
            say("lost");
        }
    }

    static synchronized boolean job() {
        if (leading) {
            say("job");
        }
        return leading;
    }

    static synchronized void say(String what) {
        System.out.println(Instant.now() + " " + id + " " + what);
        System.out.flush();
    }
}
