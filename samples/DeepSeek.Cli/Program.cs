Console.WriteLine("deepseek");
