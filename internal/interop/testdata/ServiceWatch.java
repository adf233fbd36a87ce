import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.details.JsonInstanceSerializer;
import org.apache.curator.x.discovery.details.ServiceCacheListener;

/**
 * Registers an instance that watches itself. Prints what a cache knows of all instances, now and at every change, until standard
 * input ends. Arguments: the address of ZooKeeper, the base path.
 */
public class ServiceWatch {
    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], 4000, 4000, new ExponentialBackoffRetry(100, 20));
        client.start();
        ServiceInstance<String> self = ServiceInstance.<String>builder()
                .name("books").id("self").address("localhost").port(1).payload("first").build();
        ServiceDiscovery<String> discovery = ServiceDiscoveryBuilder.builder(String.class)
                .basePath(args[1])
                .client(client)
                .thisInstance(self)
                .watchInstances(true)
                .serializer(new JsonInstanceSerializer<>(String.class))
                .build();
        discovery.start();
        ServiceCache<String> cache = discovery.serviceCacheBuilder().name("books").build();
        cache.addListener(new ServiceCacheListener() {
            @Override
            public void cacheChanged() {
                print(cache);
            }

            @Override
            public void stateChanged(CuratorFramework c, ConnectionState state) {}
        });
        cache.start();
        print(cache);
        while (System.in.read() >= 0) {}
        cache.close();
        discovery.close();
        client.close();
    }

    static synchronized void print(ServiceCache<String> cache) {
        List<String> all = new ArrayList<>();
        for (ServiceInstance<String> i : cache.getInstances()) {
            all.add(i.getId() + "=" + i.getPayload());
        }
        Collections.sort(all);
        System.out.println(String.join(" ", all));
    }
}
